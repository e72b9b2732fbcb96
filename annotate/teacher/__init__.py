"""The teacher: what is asked (request), how (client, retry, pool), of whom (server, canary)."""
