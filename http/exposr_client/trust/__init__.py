"""Why a version is believed: keys, signatures, the signed pointer."""
