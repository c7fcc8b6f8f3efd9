-- What operators ask for by: an advertisement, and Twilio's name for a message.
CREATE INDEX notifications_of_listing ON notifications (listing_id, position) WHERE listing_id IS NOT NULL;
CREATE INDEX attempts_by_sid ON attempts (sid) WHERE sid IS NOT NULL;
