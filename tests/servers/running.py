"""A homeserver that runs already: one process, or several of one cluster."""

import itertools


class RunningServer:
    """What tests need of a server that somebody else starts and stops.

    `base_url` is another process each time it is asked for, so that each user gets one of their own.
    """

    def __init__(self, base_urls):
        self.base_urls = base_urls
        self._turns = itertools.cycle(base_urls)

    @property
    def base_url(self):
        return next(self._turns)
