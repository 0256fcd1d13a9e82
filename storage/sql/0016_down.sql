DROP SCHEMA retention CASCADE;
DROP INDEX app.query_of_subject;
