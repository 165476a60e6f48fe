"""The numbers that quern/metrics/scores_test.cc expects, from scikit-learn and numpy: prints them."""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (accuracy_score, average_precision_score, balanced_accuracy_score, brier_score_loss,
                             f1_score, log_loss, mean_absolute_error, mean_squared_error, r2_score, roc_auc_score)

p=[.1,.4,.35,.8,.8,.55,.2,.9]; y=[0,0,1,1,0,1,0,1]
print(roc_auc_score(y,p),average_precision_score(y,p),log_loss(y,p),brier_score_loss(y,p),accuracy_score(y,np.array(p)>=.5),f1_score(y,np.array(p)>=.5),balanced_accuracy_score(y,np.array(p)>=.5))
P=np.array([[.7,.2,.1],[.3,.4,.3],[.2,.2,.6],[.5,.3,.2],[.1,.8,.1]]); Y=[0,1,2,1,1]
print(roc_auc_score(Y,P,multi_class='ovr'),log_loss(Y,P),f1_score(Y,P.argmax(1),average='macro'),balanced_accuracy_score(Y,P.argmax(1)))
w=[1,2,0,1,3,1,1,2]
print(roc_auc_score(y,p,sample_weight=w),average_precision_score(y,p,sample_weight=w))
t=[1,2,3,5];q=[1.5,1.5,3.5,4]
print(mean_squared_error(t,q)**.5,mean_absolute_error(t,q),r2_score(t,q))
X=np.array([[(i*7)%5-2,(i*3)%4/2.,(i%3==0)*1.] for i in range(24)],float)
y=np.array([(i*5)%7%3 for i in range(24)])
m=LogisticRegression(C=1,tol=1e-12,max_iter=10000).fit(X,y); print(m.predict_proba(X[:3]).round(6).tolist())
t=X@[1,-2,.5]+.3*np.array([(i*11)%6-2.5 for i in range(24)])
r=Ridge(alpha=1).fit(X,t); print(r.predict(X[:3]).round(6).tolist())
