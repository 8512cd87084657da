"""CRC-32C (Castagnoli), the checksum of record batches.  Source: RFC 3720 section 12.1, KIP-98."""

from typing_extensions import Buffer

def crc32c(data: Buffer, value: int = 0) -> int:
    """CRC-32C of `data`, continued from `value`: crc32c(b, crc32c(a)) == crc32c(a + b)."""

def implementations() -> tuple[str, ...]:
    """Names of the implementations that this processor can run; the first is the one in use."""

def crc32c_with(implementation: str, data: Buffer, value: int = 0) -> int:
    """As crc32c(), by the named implementation: for tests and benchmarks.

    Raises LookupError for a name that is not in implementations().
    """
