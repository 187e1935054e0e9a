-- The application's role and its database, where they are missing; psql's variables name them.
SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', :'role', :'verifier')
WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = :'role') \gexec
SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0', :'database', :'role')
WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = :'database') \gexec
