"""The only package that knows Dramatiq: broker, runner, sweeper, schedule, worker."""
