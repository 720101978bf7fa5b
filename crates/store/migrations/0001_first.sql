-- The first schema. One text for SQLite and Postgres: only bigint, text and bytea; booleans are 0/1; times are
-- milliseconds since the epoch (UTC); ids and JSON are text. A missing namespace is stored as ''.

create table meta (
    name text primary key,
    value text not null
);

create table counters (
    name text primary key,
    value bigint not null
);

create table workspaces (
    id text primary key,
    slug text not null,
    name text not null,
    doc text not null,
    tombstone bigint not null,
    created_ms bigint not null,
    updated_ms bigint not null
);
create unique index workspaces_slug on workspaces (slug) where tombstone = 0;

create table definitions (
    id text primary key,
    kind text not null,
    name text not null,
    doc text not null,
    custom bigint not null,
    public bigint not null,
    tombstone bigint not null,
    created_ms bigint not null,
    updated_ms bigint not null
);

create table grants (
    workspace_id text not null references workspaces (id),
    definition_id text not null references definitions (id),
    primary key (workspace_id, definition_id)
);

create table secrets (
    id text primary key,
    workspace_id text not null,
    nonce bytea not null,
    sealed bytea not null,
    created_ms bigint not null
);

create table actors (
    id text primary key,
    kind text not null,
    workspace_id text not null references workspaces (id),
    definition_id text not null references definitions (id),
    name text not null,
    config text not null,
    doc text not null,
    tombstone bigint not null,
    created_ms bigint not null,
    updated_ms bigint not null
);
create index actors_workspace on actors (workspace_id, kind, created_ms, id);

create table catalogs (
    id text primary key,
    hash text not null unique,
    catalog text not null,
    created_ms bigint not null
);

create table catalog_fetches (
    id text primary key,
    source_id text not null references actors (id),
    catalog_id text not null references catalogs (id),
    connector_version text not null,
    config_hash text not null,
    created_ms bigint not null
);
create index catalog_fetches_source on catalog_fetches (source_id, created_ms);

create table connections (
    id text primary key,
    workspace_id text not null references workspaces (id),
    source_id text not null references actors (id),
    destination_id text not null references actors (id),
    name text not null,
    status text not null,
    schedule_type text not null,
    schedule text,
    namespace_definition text not null,
    namespace_format text,
    prefix text,
    source_catalog_id text references catalogs (id),
    catalog_id text not null references catalogs (id),
    selection text not null,
    breaking_change bigint not null,
    geography text,
    resource_requirements text,
    notify_schema_changes bigint not null,
    notify_schema_changes_by_email bigint not null,
    non_breaking_changes_preference text,
    next_run_at_ms bigint,
    wait_reason text,
    doc text not null,
    created_ms bigint not null,
    updated_ms bigint not null
);
create index connections_workspace on connections (workspace_id, created_ms, id);
create index connections_source on connections (source_id);
create index connections_destination on connections (destination_id);
create index connections_next_run on connections (next_run_at_ms) where next_run_at_ms is not null;

create table operations (
    id text primary key,
    workspace_id text not null references workspaces (id),
    name text not null,
    doc text not null,
    tombstone bigint not null,
    created_ms bigint not null,
    updated_ms bigint not null
);
create index operations_workspace on operations (workspace_id);

create table connection_operations (
    connection_id text not null references connections (id),
    operation_id text not null references operations (id),
    position bigint not null,
    primary key (connection_id, operation_id)
);
create index connection_operations_operation on connection_operations (operation_id);

create table jobs (
    id bigint primary key,
    connection_id text not null references connections (id),
    kind text not null,
    status text not null,
    doc text not null,
    retry text not null,
    next_attempt_at_ms bigint,
    cancel_requested bigint not null,
    created_ms bigint not null,
    updated_ms bigint not null
);
-- At most one job of a connection may be active.
create unique index jobs_active on jobs (connection_id) where status in ('pending', 'running', 'incomplete');
create index jobs_connection on jobs (connection_id, created_ms, id);
create index jobs_due on jobs (next_attempt_at_ms) where status in ('pending', 'incomplete');
create index jobs_ended on jobs (updated_ms) where status in ('succeeded', 'failed', 'cancelled');

create table workers (
    id text primary key,
    kind text not null,
    started_ms bigint not null,
    seen_ms bigint not null
);

create table attempts (
    job_id bigint not null references jobs (id),
    number bigint not null,
    status text not null,
    owner text not null,
    worker_id text not null,
    outcome text,
    crashed bigint not null,
    created_ms bigint not null,
    updated_ms bigint not null,
    ended_ms bigint,
    primary key (job_id, number)
);
create index attempts_open on attempts (worker_id) where status = 'running';

create table ledger_counters (
    connection_id text primary key references connections (id),
    last_number bigint not null
);

create table state_blobs (
    connection_id text not null references connections (id),
    hash text not null,
    state text not null,
    primary key (connection_id, hash)
);

create table ledger_entries (
    connection_id text not null references connections (id),
    number bigint not null,
    origin bigint not null,
    seq bigint not null,
    kind text not null,
    why text not null,
    job_id bigint,
    attempt bigint,
    state_hash text,
    since_ms bigint not null,
    at_ms bigint not null,
    primary key (connection_id, number),
    foreign key (connection_id, state_hash) references state_blobs (connection_id, hash)
);
create index ledger_entries_point on ledger_entries (connection_id, origin, seq);
create index ledger_entries_job on ledger_entries (job_id, attempt);
create index ledger_entries_time on ledger_entries (at_ms);
create index ledger_entries_state on ledger_entries (connection_id, state_hash);

-- Origin, seq, kind, why, job and attempt repeat those of the entry, so that heads and counts are one index scan.
create table ledger_lines (
    connection_id text not null,
    number bigint not null,
    namespace text not null,
    name text not null,
    origin bigint not null,
    seq bigint not null,
    kind text not null,
    why text not null,
    job_id bigint,
    attempt bigint,
    generation bigint not null,
    place text not null,
    dropped bigint not null,
    rows_read bigint not null,
    rows_written bigint not null,
    rows_filtered bigint not null,
    rows_rejected bigint not null,
    bytes bigint not null,
    primary key (connection_id, number, namespace, name),
    foreign key (connection_id, number) references ledger_entries (connection_id, number)
);
create index ledger_lines_stream on ledger_lines (connection_id, namespace, name, origin, seq, number);
create index ledger_lines_job on ledger_lines (job_id, attempt);

-- A row for every stream that was rewritten or has a line.
create table stream_generations (
    connection_id text not null references connections (id),
    namespace text not null,
    name text not null,
    generation bigint not null,
    primary key (connection_id, namespace, name)
);

create table pending_resets (
    connection_id text not null references connections (id),
    namespace text not null,
    name text not null,
    primary key (connection_id, namespace, name)
);

create table log_segments (
    job_id bigint not null,
    attempt bigint not null,
    number bigint not null,
    size bigint not null,
    body text not null,
    primary key (job_id, attempt, number)
);

insert into counters (name, value) values ('job', 0);
