CREATE TABLE IF NOT EXISTS _leat_fence (
    connection TEXT NOT NULL PRIMARY KEY,
    format     INTEGER NOT NULL,
    store      TEXT NOT NULL,
    job        INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    owner      TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS _leat_commits (
    connection TEXT NOT NULL,
    namespace  TEXT NOT NULL,
    stream     TEXT NOT NULL,
    format     INTEGER NOT NULL,
    store      TEXT NOT NULL,
    job        INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    origin     INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    state      TEXT,
    lines      TEXT NOT NULL,
    PRIMARY KEY (connection, namespace, stream)
);
