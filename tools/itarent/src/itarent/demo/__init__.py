"""The demonstration: renters with searches, a day of listings at the pace of a film, and a view of what happens."""
