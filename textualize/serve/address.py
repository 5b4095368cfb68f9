"""Addresses that are listened on: who can reach one, and its socket."""

from __future__ import annotations

import ipaddress
import socket

from textualize.errors import TextualizeError


def is_local(host: str) -> bool:
    """Return whether an address is reached from this machine alone.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0"), is_local("")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Return the socket of an address, to be taken before anything is loaded for a minute.

    Raises:
        TextualizeError: it is taken already, or may not be.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise TextualizeError(
            f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}; "
            "give another --port"
        ) from None
