-- VALEO's tables and their rows; the same ones each time, run in one transaction.

CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE invoices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    text text NOT NULL,
    paid boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE workflows (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    state text NOT NULL CHECK (state IN ('draft', 'submitted', 'approved', 'booked')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE workflow_transitions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id bigint NOT NULL REFERENCES workflows,
    from_state text,
    to_state text NOT NULL,
    actor text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON workflow_transitions (workflow_id);
CREATE TABLE audit_logs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action text NOT NULL,
    actor text NOT NULL,
    subject text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON audit_logs (action, id);
-- What each document in the archive has to be: its size and two checksums, one of which a listing of the bucket shows.
CREATE TABLE archive_index (
    object_key text PRIMARY KEY,
    title text NOT NULL,
    size bigint NOT NULL,
    md5 text NOT NULL CHECK (length(md5) = 32),
    sha256 text NOT NULL CHECK (length(sha256) = 64),
    archived_at timestamptz NOT NULL
);

INSERT INTO customers (name, email, created_at)
SELECT 'Customer ' || n, 'customer' || n || '@example.com', now() - n * interval '1 hour' FROM generate_series(1, 2000) n;
INSERT INTO invoices (customer_id, amount_cents, text, paid, created_at)
SELECT 1 + n % 2000, 100 + n * 37 % 900000, repeat(md5(n::text), 6), n % 5 > 0, now() - n * interval '3 minutes'
FROM generate_series(1, 40000) n;
INSERT INTO workflows (title, state, created_at, updated_at)
SELECT 'Order ' || n, (ARRAY['draft', 'submitted', 'approved', 'booked'])[1 + n % 4], at, at
FROM generate_series(1, 8000) n, LATERAL (SELECT now() - n * interval '10 minutes' AS at) moment;
INSERT INTO workflow_transitions (workflow_id, from_state, to_state, actor, created_at)
SELECT w.id, CASE WHEN step > 1 THEN states[step - 1] END, states[step], 'user' || w.id % 50 || '@example.com', w.created_at
FROM workflows w, LATERAL (SELECT ARRAY['draft', 'submitted', 'approved', 'booked'] AS states) s,
     LATERAL generate_series(1, array_position(states, w.state)) step
ORDER BY w.id, step;
INSERT INTO audit_logs (action, actor, subject, created_at)
SELECT 'workflow_transition', actor, workflow_id::text, created_at FROM workflow_transitions ORDER BY id;
INSERT INTO audit_logs (action, actor, subject, created_at)
SELECT 'compliance_check', 'compliance', 'invoice ' || n, now() - n * interval '7 minutes' FROM generate_series(1, 10000) n;
