-- What was loaded for offices and for the centres of currencies goes: nothing plans by it any more. app.load_calendar is the
-- former one already, and app.fx_office may still be there.
ALTER TABLE app.calendar_day DISABLE TRIGGER append_only;
ALTER TABLE app.published_year DISABLE TRIGGER append_only;
ALTER TABLE app.bank_hours DISABLE TRIGGER append_only;
ALTER TABLE app.bank_closure DISABLE TRIGGER append_only;
DELETE FROM app.calendar_day WHERE calendar IN ('US', 'JP') OR calendar LIKE 'FX-%';
DELETE FROM app.published_year WHERE calendar IN ('US', 'JP');
DELETE FROM app.bank_hours WHERE bank_code LIKE 'FX-%';
DELETE FROM app.bank_closure WHERE bank_code LIKE 'FX-%';
ALTER TABLE app.calendar_day ENABLE TRIGGER append_only;
ALTER TABLE app.published_year ENABLE TRIGGER append_only;
ALTER TABLE app.bank_hours ENABLE TRIGGER append_only;
ALTER TABLE app.bank_closure ENABLE TRIGGER append_only;
ALTER TABLE app.calendar_day DROP CONSTRAINT calendar_day_calendar_check,
    ADD CONSTRAINT calendar_day_calendar_check CHECK (calendar ~ '^(CN|HK|MO|TW|[A-Z]{4})$');
ALTER TABLE app.published_year DROP CONSTRAINT published_year_calendar_check,
    ADD CONSTRAINT published_year_calendar_check CHECK (calendar IN ('CN', 'HK', 'MO', 'TW'));
ALTER TABLE app.bank_hours DROP CONSTRAINT bank_hours_bank_code_check,
    ADD CONSTRAINT bank_hours_bank_code_fkey FOREIGN KEY (bank_code) REFERENCES app.partner;
ALTER TABLE app.bank_closure DROP CONSTRAINT bank_closure_bank_code_check,
    ADD CONSTRAINT bank_closure_bank_code_fkey FOREIGN KEY (bank_code) REFERENCES app.partner;
DROP FUNCTION app.keeps_hours(text);
