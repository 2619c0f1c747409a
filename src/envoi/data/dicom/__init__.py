"""DICOM: images as hospitals have them, and the pseudonyms that stand for whom they are of."""
