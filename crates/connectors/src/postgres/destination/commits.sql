CREATE TABLE IF NOT EXISTS {schema}._leat_fence (
    connection text NOT NULL PRIMARY KEY,
    format     bigint NOT NULL,
    store      text NOT NULL,
    job        bigint NOT NULL,
    attempt    bigint NOT NULL,
    owner      text NOT NULL
);
CREATE TABLE IF NOT EXISTS {schema}._leat_commits (
    connection text NOT NULL,
    namespace  text NOT NULL,
    stream     text NOT NULL,
    format     bigint NOT NULL,
    store      text NOT NULL,
    job        bigint NOT NULL,
    attempt    bigint NOT NULL,
    origin     bigint NOT NULL,
    seq        bigint NOT NULL,
    kind       text NOT NULL,
    state      text,
    lines      text NOT NULL,
    PRIMARY KEY (connection, namespace, stream)
);
