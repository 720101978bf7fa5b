-- All origins of each stream: from one to the next in the index, without looking at the entries of a chain.
with recursive steps (namespace, name, origin) as (
    select
        s.namespace,
        s.name,
        (
            select min(l.origin) from ledger_lines l
            where l.connection_id = $1 and l.namespace = s.namespace and l.name = s.name
        )
    from stream_generations s
    where s.connection_id = $1
    union all
    select
        steps.namespace,
        steps.name,
        (
            select min(l.origin) from ledger_lines l
            where l.connection_id = $1 and l.namespace = steps.namespace and l.name = steps.name
                and l.origin > steps.origin
        )
    from steps
    where steps.origin is not null
)
select namespace, name, origin from steps where origin is not null order by namespace, name, origin
