"""The vault: who may read a room, and who wrote what is in it."""

from flyroom.vault.identity import Identity, IdentityError, current, verify

__all__ = ["Identity", "IdentityError", "current", "verify"]
