"""Identity: every caller is a system (hệ thống kết nối) that speaks for named agencies, and for no others."""

from gateway.identity.callers import Caller, Callers
from gateway.identity.registry import Registered, register_system, revoke_tokens, rotate_token
from gateway.identity.tokens import digest_token, new_token

__all__ = [
    "Caller", "Callers", "Registered", "digest_token", "new_token", "register_system", "revoke_tokens", "rotate_token",
]  # fmt: skip
