"""The initial files of a project, as people upload them: one archive, which nothing is believed of.

The law: an archive counts when all of it has been read once. What it is follows from its bytes, never from a name.
Sizes, counts and sums of its headers are compared with what comes out, and no more than the limits allow ever does.
Paths stay below the folder, each means one file everywhere, and there is nothing but files and folders. An archive has
no part that a reader would pass over: no gaps, no overlaps, nothing before it or behind it.

The hub checks with it what was uploaded (checking.py), and an init step unpacks with it (unpacking.py), where no other
code than the standard library's need be there.
"""
