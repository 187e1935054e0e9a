-- The schema that the ERNI system's queries use, and rows for it, the same on every machine but for the date.
-- Sized by two settings: demo.projects, demo.conversations (nine messages each).

SELECT setseed(0.1925);

CREATE TABLE projects (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_number text NOT NULL UNIQUE,
    project_type text NOT NULL,
    status text NOT NULL CHECK (status IN ('planning', 'active', 'on_hold', 'completed')),
    progress integer NOT NULL CHECK (progress BETWEEN 0 AND 100),
    current_stage text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE conversations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint REFERENCES projects,
    customer_name text NOT NULL,
    customer_email text NOT NULL,
    status text NOT NULL CHECK (status IN ('open', 'waiting', 'closed')),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    agent_name text,
    content text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE consultations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL REFERENCES conversations,
    specialist_type text NOT NULL,
    specialist_name text NOT NULL,
    consultation_date date NOT NULL,
    consultation_time time NOT NULL,
    status text NOT NULL CHECK (status IN ('scheduled', 'done', 'cancelled'))
);

CREATE TEMPORARY TABLE sentences ON COMMIT DROP AS
SELECT n, string_agg(word, ' ') || '.' AS sentence
FROM generate_series(0, 511) AS n,
LATERAL (
    SELECT ('{timber,frame,roof,insulation,window,facade,permit,architect,estimate,delivery,assembly,foundation,'
            'Minergie,heating,balcony,staircase,carpenter,measure,drawing,variant,schedule,meeting,invoice,offer,'
            'garage,extension,storey,terrace,plaster,larch,spruce,beam,joint,element,crane,site,canton,inspection}'
            ::text[])[1 + floor(random() * 38)::int] AS word
    FROM generate_series(1, 11 + n % 5)
) AS words
GROUP BY n;
CREATE INDEX ON sentences (n);

INSERT INTO projects (project_number, project_type, status, progress, current_stage, created_at)
SELECT 'P' || to_char(20000 + n, 'FM00000'),
       ('{new_build,extension,renovation,roof,agricultural}'::text[])[1 + floor(random() * 5)::int],
       ('{planning,active,on_hold,completed}'::text[])[1 + floor(random() * 4)::int],
       floor(random() * 101)::int,
       ('{design,permit,production,assembly,handover}'::text[])[1 + floor(random() * 5)::int],
       date_trunc('day', now()) - make_interval(days => 425 - n % 425)
FROM generate_series(1, current_setting('demo.projects')::int) AS n;

INSERT INTO conversations (project_id, customer_name, customer_email, status, created_at)
SELECT 1 + floor(random() * current_setting('demo.projects')::int)::int,
       'Customer ' || n,
       'customer' || n || '@example.com',
       ('{open,waiting,closed}'::text[])[1 + floor(random() * 3)::int],
       date_trunc('day', now()) - interval '425 days' * (1 - n / current_setting('demo.conversations')::float)
FROM generate_series(1, current_setting('demo.conversations')::int) AS n;

INSERT INTO messages (conversation_id, role, agent_name, content, created_at)
SELECT c.id,
       CASE turn % 2 WHEN 0 THEN 'assistant' ELSE 'user' END,
       CASE turn % 2 WHEN 0 THEN ('{Triage,Project,Appointment,FAQ,Cost}'::text[])[1 + floor(random() * 5)::int] END,
       concat_ws(' ', a.sentence, b.sentence, d.sentence, e.sentence, 'Ref ' || md5(random()::text)),
       c.created_at + make_interval(mins => turn)
FROM conversations AS c
CROSS JOIN generate_series(1, 9) AS turn
JOIN sentences AS a ON a.n = (c.id * 7 + turn * 31) % 512
JOIN sentences AS b ON b.n = (c.id * 13 + turn * 101) % 512
JOIN sentences AS d ON d.n = (c.id * 29 + turn * 211) % 512
JOIN sentences AS e ON e.n = (c.id * 61 + turn * 331) % 512
ORDER BY c.id, turn;

INSERT INTO consultations (conversation_id, specialist_type, specialist_name, consultation_date, consultation_time, status)
SELECT id,
       ('{architect,timber_engineer,energy_adviser,project_manager}'::text[])[1 + floor(random() * 4)::int],
       'Specialist ' || id % 23,
       created_at::date + 7,
       make_time(8 + floor(random() * 9)::int, 0, 0),
       CASE WHEN random() < 0.1 THEN 'cancelled' WHEN created_at < now() - interval '7 days' THEN 'done' ELSE 'scheduled' END
FROM conversations
WHERE id % 5 = 0
ORDER BY id;

CREATE INDEX ON conversations (created_at);
CREATE INDEX ON messages (conversation_id, created_at);
CREATE INDEX ON messages (created_at);
CREATE INDEX ON consultations (consultation_date);

GRANT SELECT ON ALL TABLES IN SCHEMA public TO erni_readers;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO erni_readers;
