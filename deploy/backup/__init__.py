"""How the database is dumped and brought back: two scripts that know PG* only, and who tells them on a server."""
