"""What carries a site's file to the server's inbox. Engines carry files, they decide nothing.

A site has written and approved its file before an engine sees it; the server's `collect` judges it
after an engine has left it in the inbox. The simplest engine is a person with a folder.
"""
