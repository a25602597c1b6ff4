"""Who may enter a room: the learners of its list, each with the password that they chose when they first came."""

import asyncio
import threading
from typing import Any

from firstuseauthenticator import FirstUseAuthenticator

LONGEST = 72  # bytes that bcrypt reads of a password; it refuses more
_one = threading.Lock()  # the file of passwords has one writer


class LearnerAuthenticator(FirstUseAuthenticator):
    """FirstUseAuthenticator, which here keeps passwords of the list's names alone, and lets the hub go on while it hashes."""

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """Return the learner's name, or None with a sentence for the login page."""
        if self.normalize_username(data["username"]) not in self.allowed_users | self.admin_users:
            handler.custom_login_error = (
                "That name is not on this room's list. Ask your instructor for yours."
            )
            return None
        if len(data["password"].encode()) > LONGEST or "\0" in data["password"]:
            handler.custom_login_error = f"That password is too long: {LONGEST} bytes at most."
            return None
        return await asyncio.to_thread(self._hashed, super().authenticate, handler, data)

    @staticmethod
    def _hashed(check: Any, handler: Any, data: dict[str, str]) -> str | None:
        """Run the check, a third of a second of the processor, beside the hub."""
        with _one:
            return asyncio.run(check(handler, data))
