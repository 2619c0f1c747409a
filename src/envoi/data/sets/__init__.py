"""Public sets as their publishers pack them, to prepared sets.

One module a set; each reads its tables and names, checks all before a pixel is read, and leaves
the pixels to `envoi.data.prepared`. Names of files go no further than these modules.
"""
