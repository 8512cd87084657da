def error_code_of(status: int) -> int:
    """Kafka's error code for a status of the compiled core; -1 (UNKNOWN_SERVER_ERROR) for one it does not know."""

def exception_of(status: int, position: int, what: str) -> Exception:
    """The exception that raise_for_status() raises for a status other than OK, of common.errors' tree; MemoryError for OUT_OF_MEMORY."""
