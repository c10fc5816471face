"""From template and plain values to the bytes of one personal message."""
