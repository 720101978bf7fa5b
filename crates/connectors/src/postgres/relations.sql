-- Relations that the role may read: one row each.
select
    c.oid,
    n.nspname,
    c.relname,
    c.relkind,
    c.relpages,
    row_security_active(c.oid),
    has_table_privilege(c.oid, 'SELECT'),
    -- The primary key, in its declared order, if all of it may be read.
    (
        select json_agg(a.attname order by k.place)
        from pg_catalog.pg_constraint p
        cross join unnest(p.conkey) with ordinality k (number, place)
        join pg_catalog.pg_attribute a on a.attrelid = p.conrelid and a.attnum = k.number
        where p.conrelid = c.oid and p.contype = 'p'
        having bool_and(has_column_privilege(c.oid, a.attnum, 'SELECT'))
    ),
    -- How well the order of the pages follows the first field of the key.
    (
        select abs(s.correlation)
        from pg_catalog.pg_constraint p
        join pg_catalog.pg_attribute a on a.attrelid = p.conrelid and a.attnum = p.conkey[1]
        join pg_catalog.pg_stats s
            on s.schemaname = n.nspname and s.tablename = c.relname and s.attname = a.attname and not s.inherited
        where p.conrelid = c.oid and p.contype = 'p'
    )
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f')
  and has_schema_privilege(n.oid, 'USAGE')
  and has_any_column_privilege(c.oid, 'SELECT')
  and {filter}
order by n.nspname, c.relname
