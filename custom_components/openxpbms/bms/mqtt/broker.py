"""The broker: where it is, who we are to it, and in words why it cannot be reached."""

from __future__ import annotations

from dataclasses import dataclass, field
import logging
import socket
import ssl

from aiomqtt import Client, MqttError, Will
from aiomqtt.exceptions import MqttCodeError

PORT, TLS_PORT = 1883, 8883
# A bridge that has lost its power is declared offline after one and a half of it, s.
KEEP_ALIVE = 30
# How long the broker may take for an answer, s.
PATIENCE = 10.0
# What it says to a wrong user or password, and to one that may not connect.
_REFUSALS = (134, 135)
# What the libraries say is for whoever asks: people are told in words of our own.
_LOGGER = logging.getLogger(__name__)
_LOGGER.addHandler(logging.NullHandler())


class BrokerError(Exception):
    """The broker cannot be used; the message says why, and what to do."""


class BrokerRefused(BrokerError):
    """It cannot be used until a person changes something: waiting does not help."""


class BrokerAway(BrokerError):
    """It is not there, which may change by itself."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker, with TLS where there is a context for it."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        """Return where it is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def client(self, name: str, will: Will) -> Client:
        """Return a client, to be connected.

        Under the same name a new connection ends the one before, whose will would
        otherwise come minutes later.
        """
        return Client(
            self.host,
            self.port,
            username=self.user,
            password=self.password,
            identifier=name,
            will=will,
            keepalive=KEEP_ALIVE,
            timeout=PATIENCE,
            tls_context=self.tls,
            logger=_LOGGER,
        )

    def failure(self, err: MqttError) -> BrokerError:
        """Return what a failed connection means."""
        if isinstance(err, MqttCodeError):
            return self._code(err)
        cause = err.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return BrokerRefused(
                f"The certificate of the broker {self} is not trusted"
                f" ({cause.verify_message}). Name the file of its authority with --ca,"
                " and the broker as the certificate does"
            )
        if isinstance(cause, ssl.SSLError):
            return BrokerRefused(
                f"The broker {self} does not speak TLS here ({cause.reason})."
                f" TLS has a port of its own, mostly {TLS_PORT}"
            )
        if isinstance(cause, socket.gaierror):
            return BrokerAway(f"There is no host {self.host} ({cause.strerror})")
        if isinstance(cause, OSError) and cause.strerror:
            return BrokerAway(f"No broker at {self}: {cause.strerror}")
        return BrokerAway(
            f"The broker {self} does not answer. Is it one, and does it want --tls?"
        )

    def _code(self, err: MqttCodeError) -> BrokerError:
        if getattr(err.rc, "value", err.rc) in _REFUSALS:
            who = "a client without user"
            if self.user is not None:
                who = f"user {self.user} with this password"
            return BrokerRefused(
                f"The broker {self} does not accept {who}. Look at --user,"
                " --password-file and OPENXPBMS_MQTT_PASSWORD"
            )
        return BrokerAway(f"The broker {self} takes no connection now ({err})")
