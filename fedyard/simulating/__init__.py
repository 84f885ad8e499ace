"""A federation without a hub: the hooks of a task, called for many sites on this machine, as agents would call them.

named         which task is meant
placing       what data each site has; partitions: how the rows of one data set are divided
network       drop-outs and stragglers
calling       in this process, or each site in its own
simulation    the rounds; results: what they have made
trying        one site's hooks on its own data, and what would leave it
starting      a new project from a template
"""
