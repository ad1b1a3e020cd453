"""The API for callers who need to know, or ensure, how fresh data is: routes with IAM authorisation."""

from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk.aws_apigatewayv2_authorizers import HttpIamAuthorizer
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from freshness.app.ensure.routes import Route
from infra.function import Function


class Api(Construct):
    """Routes that invoke `serve`, for callers whose IAM policy allows `execute-api:Invoke` on them."""

    def __init__(self, scope: Construct, api: apigateway.HttpApi, serve: Function) -> None:
        super().__init__(scope, "Api")
        integration = HttpLambdaIntegration("ServeApi", serve.function)
        authorizer = HttpIamAuthorizer()
        for route in Route:
            api.add_routes(
                path=route.template,
                methods=[apigateway.HttpMethod(route.method)],
                integration=integration,
                authorizer=authorizer,
            )
        self.url = api.api_endpoint
