"""Stand-ins for Fedota's coordinator, selector and client, for the demo and the tests.

They speak Fedota's gRPC (fl-proto), read the environment and the config.yaml of its images, and lay its files where it
does. What they average are small numpy arrays instead of Keras' weights: `fl_checkpoint` is an .npz, an update too.

    client --- FlRound ---> selector --- FlIntra ---> coordinator --- FlStatus ---> WEBSERVER_ADDRESS
                               ^--- FLGoalCountBroadcast ---'

As Fedota's, the coordinator reads what it reports of a round once it is connected, so that of a round that is COMPLETED
the next one's SELECTION is what arrives. What is better here than there: a late client is sent away and changes
nothing, files are cut to their new length, and whoever is lost in a round does not end the program.
"""
