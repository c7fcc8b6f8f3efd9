"""What tests of every member share: values made to fit each other, strategies for Hypothesis, and real servers."""
