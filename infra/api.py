"""The API for callers who need to know, or ensure, how fresh data is: routes with IAM authorisation."""

from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk.aws_apigatewayv2_authorizers import HttpIamAuthorizer
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from freshness.app.api.routes import Route
from infra.function import Function
from infra.settings import Settings


class Api(Construct):
    """Routes that invoke `serve`, for callers whose IAM policy allows `execute-api:Invoke` on them."""

    def __init__(
        self,
        scope: Construct,
        api: apigateway.HttpApi,
        stage: apigateway.CfnStage,
        serve: Function,
        settings: Settings,
    ) -> None:
        """Add the routes to `api`, and their limits to its `stage`."""
        super().__init__(scope, "Api")
        self._api = api
        integration = HttpLambdaIntegration("ServeApi", serve.function)
        authorizer = HttpIamAuthorizer()
        for route in Route:
            [added] = api.add_routes(
                path=route.template,
                methods=[apigateway.HttpMethod(route.method)],
                integration=integration,
                authorizer=authorizer,
            )
            # A stage refuses settings of a route that does not exist yet.
            stage.node.add_dependency(added)
        # CDK passes this on as it is.
        limit = {
            "ThrottlingRateLimit": settings.api_calls_per_second,
            "ThrottlingBurstLimit": settings.api_calls_at_once,
        }
        stage.route_settings = {route.value: limit for route in Route}

    def grant(self, grantee: iam.IGrantable) -> iam.Grant:
        arns = [self._api.arn_for_execute_api(route.method, route.pattern, "$default") for route in Route]
        return iam.Grant.add_to_principal(grantee=grantee, actions=["execute-api:Invoke"], resource_arns=arns)
