"""Images of a training are known again, and others are not."""

import numpy as np

from envoi.site import Finished, Workspace, image_digests, release, seen_among, train


def test_images_are_known_by_their_pixels_in_any_order(make_images):
    images, others = make_images(12), make_images(9, seed=1)
    digests = image_digests(images)
    assert len(set(digests.tolist())) == 12
    assert seen_among(images.subset(np.arange(12)[::-1]), digests) == 12
    assert seen_among(images.subset([3, 5]), digests) == 2
    assert seen_among(others, digests) == 0
    changed = images.images.copy()
    changed[0, 0, 0, 0] ^= 1
    images.images[:] = changed
    assert seen_among(images, digests) == 11


def test_a_working_folder_keeps_them(make_images, make_study, tmp_path):
    study, images = make_study(), make_images()
    trained = train(images, study=study, seed=1)
    told = release(trained, images, study=study)
    digests = image_digests(images)
    workspace = Workspace(tmp_path, "north")
    workspace.save(Finished(told, None, 1.0, "job", trained_on=digests), study=study)
    assert workspace.load(study=study).trained_on.tolist() == digests.tolist()
    workspace.save(Finished(told, None, 1.0, "job"), study=study)
    assert workspace.load(study=study).trained_on is None
