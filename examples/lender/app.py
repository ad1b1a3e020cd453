"""A lender's own CDK app: a loan is decided about on books that are fresh enough.

`Decide` is a function that asks for fresh data, waits for it, and decides. `Apply` is a state machine that waits
without running anything, and then decides.
"""

from aws_cdk import App, CfnOutput, CliCredentialsStackSynthesizer, Duration, Fn, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from codat_freshness.infra.construct import CodatFreshness
from codat_freshness.infra.settings import Settings
from constructs import Construct

DATA_TYPES = ["invoices", "bills"]


class Lender(Stack):
    """Codat Freshness, and what the lender decides with it."""

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        # The local AWS does not know a condition in the policies of the roles that `cdk bootstrap` makes.
        synthesizer = CliCredentialsStackSynthesizer() if settings.local else None
        super().__init__(scope, name, synthesizer=synthesizer)
        freshness = CodatFreshness(self, "Freshness", policy="freshness.toml", settings=settings)

        decide = lambda_.Function(
            self,
            "Decide",
            code=lambda_.Code.from_asset("decide"),
            handler="handler.handler",
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            timeout=Duration.minutes(12),
            memory_size=256,
            environment={"API_URL": freshness.api.api_endpoint, "DATA_TYPES": " ".join(DATA_TYPES)},
        )
        freshness.grant_ensure_fresh(decide)

        decided = tasks.LambdaInvoke(self, "DecideNow", lambda_function=decide, payload_response_only=True)
        states = self._wait(freshness.api.api_endpoint).next(decided)
        apply = sfn.StateMachine(self, "Apply", definition_body=sfn.DefinitionBody.from_chainable(states))
        freshness.grant_ensure_fresh(apply)
        freshness.end_tasks_of(apply.state_machine_arn)
        CfnOutput(self, "DecideFunction", value=decide.function_name)

    def _wait(self, api_url: str) -> sfn.CustomState:
        """Return the state that ends when the data is fresh, or when it cannot be."""
        return sfn.CustomState(
            self,
            "EnsureFresh",
            state_json={
                "Type": "Task",
                "Resource": "arn:aws:states:::apigateway:invoke.waitForTaskToken",
                "Parameters": {
                    "ApiEndpoint": Fn.select(2, Fn.split("/", api_url)),
                    "Method": "POST",
                    "Path.$": "States.Format('/companies/{}/ensure-fresh', $.companyId)",
                    "RequestBody": {
                        "dataTypes": DATA_TYPES,
                        "maxAge": "PT1H",
                        "within": "PT10M",
                        "onLate": "fail",
                        "taskToken.$": "$$.Task.Token",
                    },
                    "AuthType": "IAM_ROLE",
                },
                "TimeoutSeconds": 720,
                "ResultPath": "$.freshness",
            },
        )


app = App()
given = {name: value for name in ("local", "codat_base_url") if (value := app.node.try_get_context(name))}
Lender(app, "Lender", Settings.model_validate(given))
app.synth()
