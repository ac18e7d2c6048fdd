/// Every example by its name.
let examples: [String: @Sendable () throws -> Void] = [
    "first conversation": FirstConversation.run,
    "stage and merge": Commits.stageAndMerge,
    "remove and update": Commits.removeAndUpdate,
    "self-remove": Commits.selfRemove,
    "pre-shared key": Secrets.preSharedKey,
    "exporter": Secrets.exporter,
    "application proposals": Secrets.applicationProposals,
    "external commit": FromOutside.externalCommit,
    "external sender": FromOutside.externalSender,
    "re-initialization": Continuing.reInit,
    "branch": Continuing.branch,
    "snapshot and changes": Storing.snapshotAndChanges,
    "last resort": Storing.lastResort,
]
