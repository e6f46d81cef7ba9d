"""A room in a browser: a local web app over it, or the same pages as a folder of static files to host.

    GET  /                 the pages: HTML, ES modules and CSS of ours, as they lie in static/; no build step
    GET  /data/NAME.json   what the pages show (`pages`); a bundle holds the same files under the same names
    POST /ask/…            what needs a model: chat, and the sealed game

Everything that is read goes through `Room`, so an encrypted room is read with its key and an entry that was changed is
refused. The list is made of the index alone. What organisms said, and asking one, needs a purpose, which goes into the
log. Nothing of a room is ever markup: the pages set text, and their Content-Security-Policy takes no other script, no
style attribute and no string as HTML (Trusted Types).

Left out: changing anything in a room; accounts. Whoever reaches the port with the token is the owner of the room.
Source: Content Security Policy 3 and Trusted Types, W3C.
"""

from flyroom.view.app import Doorkeeper, app
from flyroom.view.bundle import write_bundle
from flyroom.view.hands import Hands
from flyroom.view.shelf import Shelf

__all__ = ["Doorkeeper", "Hands", "Shelf", "app", "write_bundle"]
