-- Why the table with oid {oid} cannot be replaced by another one under its name; no row where it can.
SELECT reason FROM (
    SELECT 1 AS place, CASE v.relkind WHEN 'm' THEN 'the materialized view ' WHEN 'v' THEN 'the view ' ELSE 'a rule of ' END
           || v.oid::regclass::text || ' reads it' AS reason
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid
    JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = {oid} AND v.oid <> {oid}
    UNION ALL
    SELECT 2, 'table ' || k.conrelid::regclass::text || ' refers to it' FROM pg_catalog.pg_constraint k
    WHERE k.contype = 'f' AND k.confrelid = {oid}
    UNION ALL
    -- Functions, publications, policies, statistics, sequences, columns of its row type, ...
    SELECT 3, pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) || ' depends on it'
    FROM pg_catalog.pg_depend d
    WHERE (d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = {oid}
           OR d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (
               SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typrelid = {oid}
               UNION SELECT t.typarray FROM pg_catalog.pg_type t WHERE t.typrelid = {oid} AND t.typarray <> 0))
      -- Its own array type, toast table, row type, indexes, triggers and constraints come along or are made again.
      AND NOT (d.classid = 'pg_catalog.pg_type'::regclass)
      AND NOT (d.classid = 'pg_catalog.pg_rewrite'::regclass)
      AND NOT (d.classid = 'pg_catalog.pg_class'::regclass AND d.objid IN (
          SELECT x.indexrelid FROM pg_catalog.pg_index x WHERE x.indrelid = {oid}
          UNION SELECT c.reltoastrelid FROM pg_catalog.pg_class c WHERE c.oid = {oid}
          UNION SELECT {oid}::oid))
      AND NOT (d.classid = 'pg_catalog.pg_trigger'::regclass)
      AND NOT (d.classid = 'pg_catalog.pg_constraint'::regclass)
    UNION ALL
    SELECT 4, 'it has a rule' FROM pg_catalog.pg_rewrite r WHERE r.ev_class = {oid}
    UNION ALL
    SELECT 5, 'it is partitioned, a partition, inherited or inheriting' FROM pg_catalog.pg_inherits i
    WHERE i.inhrelid = {oid} OR i.inhparent = {oid}
    UNION ALL
    SELECT 6, 'it has settings of its own' FROM pg_catalog.pg_class c
    WHERE c.oid = {oid} AND (c.relkind <> 'r' OR c.relrowsecurity OR c.relforcerowsecurity OR c.relpersistence <> 'p'
        OR c.reloptions IS NOT NULL OR c.reltablespace <> 0 OR c.relreplident <> 'd' OR c.reloftype <> 0)
    UNION ALL
    SELECT 7, 'it belongs to ' || pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c
    WHERE c.oid = {oid} AND c.relowner <> (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
    UNION ALL
    SELECT 8, 'its column ' || a.attname || ' has a default, a constraint or options' FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped
      AND (a.atthasdef OR a.attidentity <> '' OR a.attoptions IS NOT NULL OR a.attnotnull <> (a.attname IN {required}))
    UNION ALL
    SELECT 9, 'a trigger on it is not simply enabled' FROM pg_catalog.pg_trigger t
    WHERE t.tgrelid = {oid} AND NOT t.tgisinternal AND t.tgenabled <> 'O'
    UNION ALL
    SELECT 10, 'it has a security label' FROM pg_catalog.pg_seclabel l
    WHERE l.classoid = 'pg_catalog.pg_class'::regclass AND l.objoid = {oid}
) reasons ORDER BY place, reason LIMIT 1
