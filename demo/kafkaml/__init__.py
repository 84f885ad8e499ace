"""Stand-ins for Kafka-ML's programs, for the demo and the tests: data source, training, inference, federated worker.

They read the environment of its images, speak its records, and upload as it does. What they train is a small network
of numpy's instead of a model of Keras or PyTorch; a trained model is an .npz, whatever its name ends with.

    sink ----- data ----> topics ---- ranges ----> training --- model, metrics, result ---> RESULT_URL
      `-- announcement -> CONTROL_TOPIC -------------^  |
                                                        `--- FED-<id>-... <---> worker

`python -m demo.kafkaml.training pytorch|tensorflow` is a training image, `... .inference pytorch|tensorflow` one for
inference, `... .worker` the federated worker. As Kafka-ML's, they take exactly 200 for success, try ten times, and end
with code 0 whatever has happened. What is better here than there: no code that was downloaded is run, what is pickled
is read by `demo/kafkaml/arrays.py` alone, an empty range is no reason to wait, and FedAvg averages.
"""
