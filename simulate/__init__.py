"""What a policy file would do: the planner of the Lambda functions against a fleet, over days of simulated time."""
