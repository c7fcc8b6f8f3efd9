-- Every rent that was an advertisement's lowest so far, instead of the last of them: by how much a rent must fall, each
-- search says for itself.
ALTER TABLE known ADD COLUMN asked json NOT NULL DEFAULT '{}'; -- turn: [spese, cents], in the order of turns

-- As text: PostgreSQL reads nothing out of a document that holds \u0000. Within a text its quotes are escaped.
UPDATE known
   SET asked = json_build_object(1, json_build_array(
           coalesce(substring(content::text FROM '"spese": ?"(included|excluded|unknown)"'), 'unknown'),
           lowest_rent_cents))
 WHERE lowest_rent_cents IS NOT NULL;

ALTER TABLE known DROP COLUMN lowest_rent_cents;
