"""The site's portal: what runs here, what left this house, and what waits, in a browser of this very machine.

    table.py      every page and every form, by path
    serving.py    the server: who may come in, and what every answer carries
    door.py       one-time links and sessions
    desk.py       what the pages are made with: the folder, the hub, the templates
    pages/        one subject a file: first what it shows, as values, then the page, then what its forms do

It listens on the loopback alone. Needs the extra `fedyard[portal]`.
"""
