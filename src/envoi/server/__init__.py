"""What the server does with submissions: collect, synthesise, distil.

The server has no code path to private images: this room imports neither `envoi.data` nor
`envoi.site`, and a test holds it to that.
"""
