"""What is due, and why: the plan and the training policy."""
