-- Columns of the relations {oids} that the role may read, with domains resolved: one row each.
with recursive domain (declared, base, modifier) as (
    select oid, typbasetype, typtypmod from pg_catalog.pg_type where typtype = 'd'
    union all
    select d.declared, t.typbasetype, t.typtypmod
    from domain d
    join pg_catalog.pg_type t on t.oid = d.base and t.typtype = 'd'
)
select
    a.attrelid,
    a.attname,
    a.attnotnull,
    bn.nspname,
    b.typname,
    b.typtype,
    case when d.declared is null then a.atttypmod else d.modifier end,
    e.typname,
    e.typtype,
    pg_catalog.format_type(a.atttypid, -1),
    {deterministic}
from pg_catalog.pg_attribute a
left join (
    select d.* from domain d join pg_catalog.pg_type t on t.oid = d.base and t.typtype <> 'd'
) d on d.declared = a.atttypid
join pg_catalog.pg_type b on b.oid = coalesce(d.base, a.atttypid)
join pg_catalog.pg_namespace bn on bn.oid = b.typnamespace
left join pg_catalog.pg_type e on e.oid = b.typelem and e.typarray = b.oid
left join pg_catalog.pg_collation l on l.oid = a.attcollation
where a.attrelid in ({oids})
  and a.attnum > 0
  and not a.attisdropped
  and has_column_privilege(a.attrelid, a.attnum, 'SELECT')
order by a.attrelid, a.attnum
