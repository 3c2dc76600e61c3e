-- A checksum over each record and its key, and over the row of meta: SQLite has none of
-- its own. NULL is of a row that an earlier release wrote.
ALTER TABLE meta          ADD COLUMN sum INTEGER;
ALTER TABLE header        ADD COLUMN sum INTEGER;
ALTER TABLE clusters      ADD COLUMN sum INTEGER;
ALTER TABLE servers       ADD COLUMN sum INTEGER;
ALTER TABLE recoveries    ADD COLUMN sum INTEGER;
ALTER TABLE confirmations ADD COLUMN sum INTEGER;
ALTER TABLE downtimes     ADD COLUMN sum INTEGER;
ALTER TABLE rules         ADD COLUMN sum INTEGER;
ALTER TABLE pauses        ADD COLUMN sum INTEGER;
ALTER TABLE audit         ADD COLUMN sum INTEGER;
ALTER TABLE datacenters   ADD COLUMN sum INTEGER;
