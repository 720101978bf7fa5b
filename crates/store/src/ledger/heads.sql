-- Per stream: the number of the entry with the greatest point, and the greatest point that a commit, a reset or a restore
-- made. Each is one step in the index (connection_id, namespace, name, origin, seq, number), however long the history is.
select
    s.namespace,
    s.name,
    s.generation,
    (
        select l.number from ledger_lines l
        where l.connection_id = s.connection_id and l.namespace = s.namespace and l.name = s.name
        order by l.origin desc, l.seq desc, l.number desc limit 1
    ) as head,
    (
        select l.origin from ledger_lines l
        where l.connection_id = s.connection_id and l.namespace = s.namespace and l.name = s.name
            and l.why in ('sync', 'reset', 'refresh', 'recovered', 'restored')
        order by l.origin desc, l.seq desc limit 1
    ) as made_origin,
    (
        select l.seq from ledger_lines l
        where l.connection_id = s.connection_id and l.namespace = s.namespace and l.name = s.name
            and l.why in ('sync', 'reset', 'refresh', 'recovered', 'restored')
        order by l.origin desc, l.seq desc limit 1
    ) as made_seq
from stream_generations s
where s.connection_id = $1
order by s.namespace, s.name
