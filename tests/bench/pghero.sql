-- Queries of PgHero, for the benchmark of database tuning alone; no part of the collection.
--
-- From https://github.com/ankane/pghero, commit 7edb57986ffd36f9d64f0830c4ccc90a5eac46d6, lib/pghero/methods/
-- (indexes.rb, space.rb, maintenance.rb, constraints.rb, tables.rb), word for word but for the binds, which are PgHero's
-- defaults, Ruby's escapes and the Ruby around them. Their licence:
--
-- Copyright (c) 2014-2026 Andrew Kane, 2008-2014 Heroku (initial queries)
--
-- MIT License
--
-- Permission is hereby granted, free of charge, to any person obtaining
-- a copy of this software and associated documentation files (the
-- "Software"), to deal in the Software without restriction, including
-- without limitation the rights to use, copy, modify, merge, publish,
-- distribute, sublicense, and/or sell copies of the Software, and to
-- permit persons to whom the Software is furnished to do so, subject to
-- the following conditions:
--
-- The above copyright notice and this permission notice shall be
-- included in all copies or substantial portions of the Software.
--
-- THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND,
-- EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
-- MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
-- NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
-- LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION
-- OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION
-- WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

-- index_hit_rate
SELECT
  (sum(idx_blks_hit)) / nullif(sum(idx_blks_hit + idx_blks_read), 0) AS rate
FROM
  pg_statio_user_indexes;

-- index_caching
SELECT
  schemaname AS schema,
  relname AS table,
  indexrelname AS index,
  CASE WHEN idx_blks_hit + idx_blks_read = 0 THEN
    0
  ELSE
    ROUND(1.0 * idx_blks_hit / (idx_blks_hit + idx_blks_read), 2)
  END AS hit_rate
FROM
  pg_statio_user_indexes
ORDER BY
  3 DESC, 1;

-- index_usage
SELECT
  schemaname AS schema,
  relname AS table,
  CASE idx_scan
    WHEN 0 THEN 'Insufficient data'
    ELSE (100 * idx_scan / (seq_scan + idx_scan))::text
  END percent_of_times_index_used,
  n_live_tup AS estimated_rows
FROM
  pg_stat_user_tables
ORDER BY
  n_live_tup DESC,
  relname ASC;

-- missing_indexes
SELECT
  schemaname AS schema,
  relname AS table,
  CASE idx_scan
    WHEN 0 THEN 'Insufficient data'
    ELSE (100 * idx_scan / (seq_scan + idx_scan))::text
  END percent_of_times_index_used,
  n_live_tup AS estimated_rows
FROM
  pg_stat_user_tables
WHERE
  idx_scan > 0
  AND (100 * idx_scan / (seq_scan + idx_scan)) < 95
  AND n_live_tup >= 10000
ORDER BY
  n_live_tup DESC,
  relname ASC;

-- unused_indexes
SELECT
  schemaname AS schema,
  relname AS table,
  indexrelname AS index,
  pg_relation_size(i.indexrelid) AS size_bytes,
  idx_scan as index_scans
FROM
  pg_stat_user_indexes ui
INNER JOIN
  pg_index i ON ui.indexrelid = i.indexrelid
WHERE
  NOT indisunique
  AND idx_scan <= 50
  AND pg_relation_size(i.indexrelid) >= 0
ORDER BY
  pg_relation_size(i.indexrelid) DESC,
  relname ASC;

-- indexes
SELECT
  schemaname AS schema,
  t.relname AS table,
  ix.relname AS name,
  regexp_replace(pg_get_indexdef(i.indexrelid), '^[^\(]*\((.*)\)$', '\1') AS columns,
  regexp_replace(pg_get_indexdef(i.indexrelid), '.* USING ([^ ]*) \(.*', '\1') AS using,
  indisunique AS unique,
  indisprimary AS primary,
  indisvalid AS valid,
  indexprs::text,
  indpred::text,
  pg_get_indexdef(i.indexrelid) AS definition
FROM
  pg_index i
INNER JOIN
  pg_class t ON t.oid = i.indrelid
INNER JOIN
  pg_class ix ON ix.oid = i.indexrelid
LEFT JOIN
  pg_stat_user_indexes ui ON ui.indexrelid = i.indexrelid
WHERE
  schemaname IS NOT NULL
ORDER BY
  1, 2;

-- index_bloat
WITH btree_index_atts AS (
  SELECT
    nspname, relname, reltuples, relpages, indrelid, relam,
    regexp_split_to_table(indkey::text, ' ')::smallint AS attnum,
    indexrelid as index_oid
  FROM
    pg_index
  JOIN
    pg_class ON pg_class.oid = pg_index.indexrelid
  JOIN
    pg_namespace ON pg_namespace.oid = pg_class.relnamespace
  JOIN
    pg_am ON pg_class.relam = pg_am.oid
  WHERE
    pg_am.amname = 'btree'
),
index_item_sizes AS (
  SELECT
    i.nspname,
    i.relname,
    i.reltuples,
    i.relpages,
    i.relam,
    (quote_ident(s.schemaname) || '.' || quote_ident(s.tablename))::regclass AS starelid,
    a.attrelid AS table_oid, index_oid,
    current_setting('block_size')::numeric AS bs,
    /* MAXALIGN: 4 on 32bits, 8 on 64bits (and mingw32 ?) */
    CASE
      WHEN version() ~ 'mingw32' OR version() ~ '64-bit' THEN 8
      ELSE 4
    END AS maxalign,
    24 AS pagehdr,
    /* per tuple header: add index_attribute_bm if some cols are null-able */
    CASE WHEN max(coalesce(s.null_frac,0)) = 0
      THEN 2
      ELSE 6
    END AS index_tuple_hdr,
    /* data len: we remove null values save space using it fractionnal part from stats */
    sum( (1-coalesce(s.null_frac, 0)) * coalesce(s.avg_width, 2048) ) AS nulldatawidth
  FROM
    pg_attribute AS a
  JOIN
    pg_stats AS s ON (quote_ident(s.schemaname) || '.' || quote_ident(s.tablename))::regclass=a.attrelid AND s.attname = a.attname
  JOIN
    btree_index_atts AS i ON i.indrelid = a.attrelid AND a.attnum = i.attnum
  WHERE
    a.attnum > 0
  GROUP BY
    1, 2, 3, 4, 5, 6, 7, 8, 9
),
index_aligned AS (
  SELECT
    maxalign,
    bs,
    nspname,
    relname AS index_name,
    reltuples,
    relpages,
    relam,
    table_oid,
    index_oid,
    ( 2 +
      maxalign - CASE /* Add padding to the index tuple header to align on MAXALIGN */
        WHEN index_tuple_hdr%maxalign = 0 THEN maxalign
        ELSE index_tuple_hdr%maxalign
      END
    + nulldatawidth + maxalign - CASE /* Add padding to the data to align on MAXALIGN */
        WHEN nulldatawidth::integer%maxalign = 0 THEN maxalign
        ELSE nulldatawidth::integer%maxalign
      END
    )::numeric AS nulldatahdrwidth, pagehdr
  FROM
    index_item_sizes AS s1
),
otta_calc AS (
  SELECT
    bs,
    nspname,
    table_oid,
    index_oid,
    index_name,
    relpages,
    coalesce(
      ceil((reltuples*(4+nulldatahdrwidth))/(bs-pagehdr::float)) +
      CASE WHEN am.amname IN ('hash','btree') THEN 1 ELSE 0 END , 0 /* btree and hash have a metadata reserved block */
    ) AS otta
  FROM
    index_aligned AS s2
  LEFT JOIN
    pg_am am ON s2.relam = am.oid
),
raw_bloat AS (
  SELECT
    nspname,
    c.relname AS table_name,
    index_name,
    bs*(sub.relpages)::bigint AS totalbytes,
    CASE
      WHEN sub.relpages <= otta THEN 0
      ELSE bs*(sub.relpages-otta)::bigint END
      AS wastedbytes,
    CASE
      WHEN sub.relpages <= otta
      THEN 0 ELSE bs*(sub.relpages-otta)::bigint * 100 / (bs*(sub.relpages)::bigint) END
      AS realbloat,
    pg_relation_size(sub.table_oid) as table_bytes,
    stat.idx_scan as index_scans,
    stat.indexrelid
  FROM
    otta_calc AS sub
  JOIN
    pg_class AS c ON c.oid=sub.table_oid
  JOIN
    pg_stat_user_indexes AS stat ON sub.index_oid = stat.indexrelid
)
SELECT
  nspname AS schema,
  table_name AS table,
  index_name AS index,
  wastedbytes AS bloat_bytes,
  totalbytes AS index_bytes,
  pg_get_indexdef(rb.indexrelid) AS definition,
  indisprimary AS primary
FROM
  raw_bloat rb
INNER JOIN
  pg_index i ON i.indexrelid = rb.indexrelid
WHERE
  wastedbytes >= 104857600
ORDER BY
  wastedbytes DESC,
  index_name;

-- relation_sizes
SELECT
  n.nspname AS schema,
  c.relname AS relation,
  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'm' then 'matview' ELSE 'index' END AS type,
  pg_table_size(c.oid) AS size_bytes
FROM
  pg_class c
LEFT JOIN
  pg_namespace n ON n.oid = c.relnamespace
WHERE
  n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname !~ '^pg_toast'
  AND c.relkind IN ('r', 'm', 'i')
ORDER BY
  pg_table_size(c.oid) DESC,
  2 ASC;

-- table_sizes
SELECT
  n.nspname AS schema,
  c.relname AS table,
  pg_total_relation_size(c.oid) AS size_bytes
FROM
  pg_class c
LEFT JOIN
  pg_namespace n ON n.oid = c.relnamespace
WHERE
  n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname !~ '^pg_toast'
  AND c.relkind = 'r'
ORDER BY
  pg_total_relation_size(c.oid) DESC,
  2 ASC;

-- transaction_id_danger
SELECT
  n.nspname AS schema,
  c.relname AS table,
  2146483648 - GREATEST(AGE(c.relfrozenxid), AGE(t.relfrozenxid)) AS transactions_left
FROM
  pg_class c
INNER JOIN
  pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN
  pg_class t ON c.reltoastrelid = t.oid
WHERE
  c.relkind = 'r'
  AND (2146483648 - GREATEST(AGE(c.relfrozenxid), AGE(t.relfrozenxid))) < 10000000
ORDER BY
 3, 1, 2;

-- maintenance_info
SELECT
  schemaname AS schema,
  relname AS table,
  last_vacuum,
  last_autovacuum,
  last_analyze,
  last_autoanalyze,
  n_dead_tup AS dead_rows,
  n_live_tup AS live_rows
FROM
  pg_stat_user_tables
ORDER BY
  1, 2;

-- invalid_constraints
SELECT
  nsp.nspname AS schema,
  rel.relname AS table,
  con.conname AS name,
  fnsp.nspname AS referenced_schema,
  frel.relname AS referenced_table
FROM
  pg_catalog.pg_constraint con
INNER JOIN
  pg_catalog.pg_class rel ON rel.oid = con.conrelid
LEFT JOIN
  pg_catalog.pg_class frel ON frel.oid = con.confrelid
LEFT JOIN
  pg_catalog.pg_namespace nsp ON nsp.oid = con.connamespace
LEFT JOIN
  pg_catalog.pg_namespace fnsp ON fnsp.oid = frel.relnamespace
WHERE
  con.convalidated = 'f';

-- table_hit_rate
SELECT
  sum(heap_blks_hit) / nullif(sum(heap_blks_hit) + sum(heap_blks_read), 0) AS rate
FROM
  pg_statio_user_tables;

-- table_caching
SELECT
  schemaname AS schema,
  relname AS table,
  CASE WHEN heap_blks_hit + heap_blks_read = 0 THEN
    0
  ELSE
    ROUND(1.0 * heap_blks_hit / (heap_blks_hit + heap_blks_read), 2)
  END AS hit_rate
FROM
  pg_statio_user_tables
ORDER BY
  2 DESC, 1;

-- unused_tables
SELECT
  schemaname AS schema,
  relname AS table,
  n_live_tup AS estimated_rows
FROM
  pg_stat_user_tables
WHERE
  idx_scan = 0
ORDER BY
  n_live_tup DESC,
  relname ASC;

-- table_stats
SELECT
  nspname AS schema,
  relname AS table,
  reltuples::bigint AS estimated_rows,
  pg_total_relation_size(pg_class.oid) AS size_bytes
FROM
  pg_class
INNER JOIN
  pg_namespace ON pg_namespace.oid = pg_class.relnamespace
WHERE
  relkind = 'r'
ORDER BY
  1, 2;
