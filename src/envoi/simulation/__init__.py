"""A whole federation in one process: partition, sites, server, comparison.

Sites and server meet as they do in a hospital: through signed submission files.
"""
