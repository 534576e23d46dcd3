"""Addresses that the package's servers listen on."""

import ipaddress
import socket


def listen(host: str, port: int, backlog: int = 128) -> socket.socket:
    """A socket that listens.

    Args:
        host: name or address of this computer.
        port: 0 for a free one.
        backlog: connections that may wait.

    Raises:
        OSError: if the port is taken or the address belongs to another
            computer.
    """
    try:
        *kind, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Not create_server: only if a socket's protocol is given does asyncio
        # turn off Nagle's algorithm, which costs 40 ms a request.
        listener = socket.socket(*kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(backlog)
        except OSError:
            listener.close()
            raise
        return listener
    except OSError as error:
        raise OSError(
            f"{host}:{port}: cannot be listened on: {error.strerror}; choose "
            "another port or host."
        ) from error


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def authority(host: str, port: int) -> str:
    """Host and port as in an address of the web."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
