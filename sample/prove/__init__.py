"""The proving ground: good rows are spoilt in known ways, and every check shows what it catches."""
