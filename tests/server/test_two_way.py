"""The normal equations of a table's rows and columns: by plain least squares."""

import numpy as np
import torch

from envoi.server.two_way import normal_matrix

WEIGHTS = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 5.0]])


def design(weights):
    """One row for each entry: its column's unknown, then its row's; scaled by its weight's root."""
    rows, columns = weights.shape
    entries = []
    for row in range(rows):
        for column in range(columns):
            entry = np.zeros(columns + rows)
            entry[column] = entry[columns + row] = np.sqrt(weights[row, column])
            entries.append(entry)
    return np.stack(entries)


def test_it_is_the_gram_matrix_of_the_stacked_system():
    stacked = design(WEIGHTS.double().numpy())
    found = normal_matrix(WEIGHTS, 0.5).numpy()
    np.testing.assert_allclose(found, stacked.T @ stacked + 0.5 * np.eye(5), atol=1e-12)


def test_several_tables_are_taken_one_by_one():
    several = torch.stack([WEIGHTS, 2 * WEIGHTS, WEIGHTS.flip(0)])
    found = normal_matrix(several, 0.1)
    assert found.shape == (3, 5, 5)
    for one, own in zip(several, found, strict=True):
        assert own.equal(normal_matrix(one, 0.1))
