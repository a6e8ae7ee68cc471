"""The seal ring (vòng khóa niêm phong): the node's seal keys and certificates, in files that only its user can read.

    <data>/keys/                             0700
    <data>/keys/seal.key, seal.crt           0600, the first pair
    <data>/keys/seal-20261201T000000Z.key    0600, a later pair, named by the moment from which it seals (UTC)
    <data>/keys/seal-20261201T000000Z.crt

A key file holds a P-256 key (PKCS#8 PEM), or the PKCS#11 address of one on a token.  Which pair seals follows from the
clock alone: the last whose moment has come.  So a new key is announced by being there, is taken over by every process
without a word, and nothing is switched that a crash could leave half switched.

A certificate is written after its key and is what says that the pair is whole: a key without one was never used.  A
certificate whose key is gone is a former one, kept for verification; the pair that seals now must have both, and is
never made anew by itself, because seals made with the lost key would be orphaned.
"""

from gateway.keys.faults import KeysAway, KeysDamaged, KeysElsewhere, KeysExposed, KeysMissing, KeysUnfit
from gateway.keys.keyring import Keyring, open_pair
from gateway.keys.making import make_keys, rotate_keys
from gateway.keys.ring import KeyState, SealPair, SealRing, load_ring

__all__ = [
    "KeyState",
    "Keyring",
    "KeysAway",
    "KeysDamaged",
    "KeysElsewhere",
    "KeysExposed",
    "KeysMissing",
    "KeysUnfit",
    "SealPair",
    "SealRing",
    "load_ring",
    "make_keys",
    "open_pair",
    "rotate_keys",
]
